"""How the score is learned: losses, optimiser, state, devices and the run itself."""
