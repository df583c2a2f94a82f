"""Following logs record by record: for audit consumers with a replica of their own, and for programs of the host."""
