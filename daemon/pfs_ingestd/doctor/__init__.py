"""What a first start can trip over: looked at, judged, and told with its cure."""
