"""One page for the browser that shows how a run's data become noise, and how noise becomes data again."""

from visualize.run import FILE, prepare
