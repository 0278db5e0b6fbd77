"""Why the network says what it says, and how steady it is: saliency, feature maps, the translation test."""
