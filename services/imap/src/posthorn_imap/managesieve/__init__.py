"""ManageSieve (RFC 5804): scripts of the account are uploaded, checked, activated and read."""
