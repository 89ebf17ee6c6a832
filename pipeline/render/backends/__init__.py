"""Who finds the triangle of every pixel: one backend a file, each with the function `ids`."""
