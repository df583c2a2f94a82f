"""Writing, signing and checking manifests and geneses, and the ceremonies by which anchors do it together."""
