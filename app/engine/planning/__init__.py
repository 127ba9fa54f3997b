"""What happens next. Pure: values in, values out."""
