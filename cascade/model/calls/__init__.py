"""What a call is checked against before there is one: the function, its signature, the columns of a map."""
