"""What every stage stands on: parameters, files, errors and the way a stage is run."""
