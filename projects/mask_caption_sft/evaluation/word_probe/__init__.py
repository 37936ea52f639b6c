"""Does a segmenter hear every word? What a wrong word of each kind costs it in IoU."""
