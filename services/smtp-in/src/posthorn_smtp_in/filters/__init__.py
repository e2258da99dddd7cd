"""Content filters: programs elsewhere that have opinions on messages; judge.py gives the verdict."""
