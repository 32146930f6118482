"""Hard negatives: false captions, and pictures of them."""
