package lun

func (n *Nexus) absent(t *Task) { t.conclude(nil); n.tr.TaskDone(t) }
