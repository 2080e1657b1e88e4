"""Runs a network once and writes down what happened: records, graph, integers with origins."""
