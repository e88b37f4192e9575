package update

import (
	"testing"

	"github.com/stretchr/testify/require"
)

// What SWUpdate 2022.12 said in front of a server, shortened.
func TestReasonIsNotTheClosingWords(t *testing.T) {
	t.Parallel()
	closing := []string{"Image invalid or corrupted. Not installing ...", "[network_initializer] : Main thread sleep again !", "Waiting for requests...", "No suitable .swu image found"}
	for _, c := range []struct {
		said []string
		want string
	}{
		{append([]string{"ERROR : Cannot read stored update state.", "Software Update started !", "[check_hw_compatibility] : Hardware demo Revision: 1.0", "ERROR : SW not compatible with hardware"}, closing...), "ERROR : SW not compatible with hardware"},
		{append([]string{"Software Update started !", "[verify_signer_certs] : Failed to verify certificate 0 in signer sequence", "ERROR : Authentication of all signatures failed", "ERROR : Compatible SW not found"}, closing...), "ERROR : Authentication of all signatures failed; ERROR : Compatible SW not found"},
		{append([]string{"Software Update started !", "[extract_file_to_tmp] :  size 242", "[extract_file_to_tmp] : description file name not the first of the list: payload0 instead of sw-description.sig"}, closing...), "[extract_file_to_tmp] : description file name not the first of the list: payload0 instead of sw-description.sig"},
		{append([]string{"ERROR : of an attempt before", "Software Update started !"}, closing...), "the unit gave no reason"},
		{[]string{"Installing", "Installing", "failed to mount slot"}, "Installing; failed to mount slot"},
		{closing, "the unit gave no reason"},
		{nil, "the unit gave no reason"},
	} {
		require.Equal(t, c.want, Reason(c.said))
	}
}
