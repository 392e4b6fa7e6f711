"""Files, and CIFAR-10 from its sources to the splits that models see."""
