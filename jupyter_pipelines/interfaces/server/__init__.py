"""The door for front ends: routes over HTTP, and events on Jupyter's own stream."""
