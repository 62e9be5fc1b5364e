package layered

func helper() bool { return false }
