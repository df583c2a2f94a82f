"""Engines of others: their own signed records, admitted into a tenant's store and taken up in the tenant's log."""
