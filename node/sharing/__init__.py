"""One log for several tenants: a neutral operator sequences what they anchor in it and learns nothing but ids."""
