"""How far one set of pictures is from another, whatever each is: the work of `ganlet fid`."""
