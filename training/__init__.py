"""How the score is learned: objective, optimiser, state, devices and the run itself."""
