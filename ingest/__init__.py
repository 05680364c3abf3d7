"""Masters in; published tracks out."""
