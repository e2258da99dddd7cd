"""Who sent a message: facts gathered side by side, a verdict as a function of them, and a field that tells of both."""
