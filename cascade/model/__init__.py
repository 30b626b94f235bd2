"""What a user can say: values without behaviour. No AnyIO, no I/O, no globals."""
