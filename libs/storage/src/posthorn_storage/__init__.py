"""The shared storage library: schema, migrations, accounts, mail, queue, groupware, blobs, leases."""
