"""`luna diagnose`: one scan or many, and its optional inputs."""
