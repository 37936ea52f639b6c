"""Trials of settings: a space declared in a config, each trial a training run, the poor ones ended early."""
