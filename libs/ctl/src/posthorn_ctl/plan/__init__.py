"""How many processes, databases and machines a cluster needs: the guide's rule of thumb, and what was measured."""
