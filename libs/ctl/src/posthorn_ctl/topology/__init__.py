"""One description of a cluster's nodes, and what is made of it: files for orchestrators and balancers, a comparison."""
