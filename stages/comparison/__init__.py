"""What a change did to the results: two states of the project, verdicts, the gate."""
