"""What everything rests on: places, files, identity, processes, the training loop."""
