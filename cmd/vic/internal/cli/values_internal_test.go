package cli

import (
	"testing"

	"github.com/spf13/pflag"
	"github.com/stretchr/testify/assert"
	"github.com/stretchr/testify/require"
	corev1 "k8s.io/api/core/v1"
	"k8s.io/apimachinery/pkg/api/resource"
)

func TestAValueShowsWhatItHas(t *testing.T) {
	size := resource.MustParse("512Mi")
	resources := corev1.ResourceList{corev1.ResourceMemory: resource.MustParse("1Gi"), corev1.ResourceCPU: resource.MustParse("500m")}
	limits := resources.DeepCopy()
	list, pairs := []string{"a", "b"}, map[string]string{"b": "1", "a": "2"}
	tests := map[string]struct {
		value              pflag.Value
		empty              pflag.Value // as help makes one to compare with
		shows, kind, given string
	}{
		"a size":         {sizeValue{&size}, sizeValue{}, "512Mi", "size", "1Gi"},
		"an amount":      {amountValue{&limits, corev1.ResourceMemory, true}, amountValue{}, "1Gi", "size", "2Gi"},
		"a number":       {amountValue{&limits, corev1.ResourcePods, false}, amountValue{}, "0", "int", "9"},
		"some resources": {resourcesValue{&resources}, resourcesValue{}, "cpu=500m,memory=1Gi", "resources", "cpu=1"},
		"a list":         {listValue{&list}, listValue{}, "a,b", "stringArray", "c"},
		"some pairs":     {pairsValue[string]{of: &pairs, parse: func(s string) (string, error) { return s, nil }}, pairsValue[string]{}, "a,b", "stringArray", "c=3"},
	}
	for name, tt := range tests {
		t.Run(name, func(t *testing.T) {
			assert.Equal(t, tt.shows, tt.value.String())
			assert.Equal(t, tt.kind, tt.value.Type())
			assert.Empty(t, tt.empty.String())
			require.NoError(t, tt.value.Set(tt.given))
			assert.NotEqual(t, tt.shows, tt.value.String())
		})
	}
}

func TestAListIsEmptiedBeforeItIsGivenAnew(t *testing.T) {
	list, pairs := []string{"file"}, map[string]string{"file": "1"}
	for _, v := range []resetter{listValue{&list}, pairsValue[string]{of: &pairs}} {
		v.reset()
	}
	assert.Empty(t, list)
	assert.Empty(t, pairs)
}

func TestTheLastOfSomeResourcesCounts(t *testing.T) {
	var list corev1.ResourceList
	v := resourcesValue{&list}
	require.NoError(t, v.Set("memory=1Gi, cpu=500m"))
	assert.Equal(t, "cpu=500m,memory=1Gi", v.String())
	require.NoError(t, v.Set("memory=2Gi"))
	assert.Equal(t, "memory=2Gi", v.String())
	for given, says := range map[string]string{
		"cpu": "not of the form RESOURCE=QUANTITY", "cpu=some": `"cpu=some" is not a quantity`, "cpu=1,cpu=2": "cpu is given twice",
	} {
		require.ErrorContains(t, v.Set(given), says)
	}
	assert.Equal(t, "memory=2Gi", v.String(), "what is refused changes nothing")
}
