"""What each command does, one module or folder a verb; `ganlet.cli` parses the words and prints the results."""
