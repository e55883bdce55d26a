"""Reading data sets from disk: listings of folders and archives, picture files, Omniglot's layouts."""
