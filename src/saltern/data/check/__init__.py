"""What is wrong with a data set, before an hour is spent on it."""
