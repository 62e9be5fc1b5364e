package lun

// itl is an I_T_L nexus: what one nexus sees at one LUN.
type itl struct {
	nexus *Nexus
	unit  *Unit
}

// fence waits for the end of tasks.
type fence struct{}
