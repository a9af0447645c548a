"""The study that the notebooks call: experiments, figures, networks, sources, baselines, runs."""
