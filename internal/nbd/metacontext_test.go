package nbd

import "testing"

func TestMetaQuery(t *testing.T) {
	const wire = `00000002 'db' 00000002 0000000f 'base:allocation' 00000005 'base:'`
	vector(t, wire, MetaQuery{Export: "db", Queries: []string{"base:allocation", "base:"}}, ParseMetaQuery)
	truncated(t, wire, ParseMetaQuery)
	vector(t, `00000000 00000000`, MetaQuery{}, ParseMetaQuery)
	refused(t, `00000000 ffffffff 00000000`, ParseMetaQuery)
}

func TestMetaContext(t *testing.T) {
	vector(t, `00000001 'base:allocation'`, MetaContext{ID: 1, Name: BaseAllocation}, ParseMetaContext)
	refused(t, `000000`, ParseMetaContext)
	refused(t, `00000001 ff`, ParseMetaContext)
}
