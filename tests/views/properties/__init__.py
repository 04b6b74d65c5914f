"""Random tables, random views, random changes: what is kept is always what the view makes of the data from nothing."""
