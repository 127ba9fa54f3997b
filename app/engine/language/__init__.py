"""What a workflow says. Pure: values in, values out."""
