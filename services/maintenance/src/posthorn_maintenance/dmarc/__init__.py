"""Where DMARC aggregate reports may go."""
