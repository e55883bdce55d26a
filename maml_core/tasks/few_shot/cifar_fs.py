"""CIFAR-FS: the 100 classes of CIFAR-100, split for few-shot learning by Bertinetto et al. (2019), by name.

With all 600 pictures of each class, those of CIFAR-100's training set and of its test set:

>>> both = ConcatDataset([CIFAR100(root, train=True), CIFAR100(root, train=False)])
>>> train, validation, test = FewShotTasks(both, ways=5, shots=1, queries=15).split(**CIFAR_FS)
"""

CIFAR_FS = {
    "train": [
        "apple", "aquarium_fish", "bear", "bee", "bottle", "bowl", "boy", "bridge", "bus", "can", "castle", "caterpillar",
        "chair", "clock", "cloud", "cockroach", "couch", "cup", "dinosaur", "dolphin", "elephant", "forest", "girl",
        "hamster", "house", "kangaroo", "keyboard", "lawn_mower", "lion", "lizard", "lobster", "mountain", "mouse",
        "mushroom", "oak_tree", "orange", "orchid", "palm_tree", "pear", "pine_tree", "plate", "porcupine", "possum",
        "rabbit", "raccoon", "ray", "road", "seal", "shrew", "skunk", "skyscraper", "snake", "spider", "squirrel",
        "streetcar", "sunflower", "tank", "tiger", "train", "trout", "tulip", "turtle", "willow_tree", "wolf",
    ],
    "validation": [
        "beaver", "beetle", "butterfly", "camel", "cattle", "crab", "crocodile", "flatfish", "lamp", "maple_tree",
        "motorcycle", "otter", "sea", "shark", "television", "tractor",
    ],
    "test": [
        "baby", "bed", "bicycle", "chimpanzee", "fox", "leopard", "man", "pickup_truck", "plain", "poppy", "rocket", "rose",
        "snail", "sweet_pepper", "table", "telephone", "wardrobe", "whale", "woman", "worm",
    ],
}  # fmt: skip
