"""What is trained, one file each. What is common to all of them stands in training/loop.py."""
