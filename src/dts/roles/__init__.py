"""The rooms of the house, one package per role. They never import each other."""
