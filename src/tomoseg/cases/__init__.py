"""Processing of many cases, in this process, in several, or on a cluster: a case in, a record out."""
