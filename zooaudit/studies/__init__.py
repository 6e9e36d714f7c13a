"""Studies: what the paper claims, tried on a zoo; each gives a table, a picture and findings."""
