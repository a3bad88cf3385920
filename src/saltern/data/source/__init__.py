"""What a data set is made of, read strictly: images, masks, CSVs, the sample tables, and all problems at once."""
