package gpu

import (
	"os"
	"strings"
	"testing"
)

func capturedMIG(t *testing.T) (xml, list string) {
	t.Helper()
	for name, to := range map[string]*string{"mig.xml": &xml, "mig.list": &list} {
		text, err := os.ReadFile("../testdata/nvidia-smi/" + name)
		if err != nil {
			t.Fatal(err)
		}
		*to = string(text)
	}
	return xml, list
}

func TestParseInstances(t *testing.T) {
	xml, list := capturedMIG(t)
	found := parseInstances(xml)
	want := []instance{
		{"GPU-11111111-0000-0000-0000-000000000000", 0, "", known(9856), known(1000), known(8856)},
		{"GPU-11111111-0000-0000-0000-000000000000", 1, "", known(4864), known(12), known(4852)},
	}
	if len(found) != 2 || found[0] != want[0] || found[1] != want[1] {
		t.Fatalf("%+v", found)
	}
	nameInstances(found, list)
	if found[0].uuid != "MIG-22222222-0000-0000-0000-000000000000" || found[1].uuid != "MIG-33333333-0000-0000-0000-000000000000" {
		t.Errorf("%+v", found)
	}
	// Drivers before 470 name an instance by its card.
	found[1].uuid = ""
	nameInstances(found, "GPU 0: A100 (UUID: "+want[1].gpu+")\n  MIG 1g.5gb Device 1: (UUID: MIG-"+want[1].gpu+"/8/0)\n")
	if found[1].uuid != "MIG-"+want[1].gpu+"/8/0" {
		t.Errorf("%+v", found)
	}
	// Some drivers write the UUID into the XML.
	if found = parseInstances(strings.Replace(xml, "<index>0</index>", "<index>0</index><uuid>MIG-x</uuid>", 1)); len(found) != 2 || found[0].uuid != "MIG-x" || found[1].uuid != "" {
		t.Errorf("%+v", found)
	}
	// Instances of another card, an instance of no card, and one without a number.
	other := strings.Replace(xml[strings.Index(xml, "<gpu id"):strings.Index(xml, "</gpu>")], "GPU-1", "GPU-2", 1) + "</gpu>"
	if found = parseInstances(strings.Replace(xml, "</gpu>", "</gpu>"+other, 1)); len(found) != 4 || found[1].gpu != want[1].gpu || found[2].gpu == want[1].gpu || found[2].index != 0 {
		t.Errorf("%+v", found)
	}
	for _, bad := range []string{strings.Replace(xml, "<uuid>", "<uuid2>", 1), strings.Replace(xml, "<uuid>GPU-11111111-0000-0000-0000-000000000000</uuid>", "", 1),
		strings.ReplaceAll(xml, "index>", "place>"), xml[:len(xml)/2], strings.ReplaceAll(xml, "mig_devices", "none"), "", "<", "</>", "</gpu>", "<gpu>"} {
		if found := parseInstances(bad); len(found) != 0 {
			t.Errorf("%+v", found)
		}
	}
}

func TestWithInstances(t *testing.T) {
	cards := []Card{{Index: 0, UUID: "GPU-0", Name: "plain", Free: known(1)}, {Index: 1, UUID: "GPU-1", Name: "A100", MIG: true, Temp: known(40)},
		{Index: 2, UUID: "GPU-2", Name: "A100", MIG: true}, {Index: 3, UUID: "GPU-3", Name: "A100", MIG: true, Fault: "GPU is lost"}}
	got := withInstances(cards, []instance{{gpu: "GPU-1", index: 0, uuid: "MIG-a", free: known(10)}, {gpu: "GPU-1", index: 2, uuid: "MIG-b", free: known(20)},
		{gpu: "GPU-0", index: 0}, {gpu: "GPU-3", index: 0}, {gpu: "GPU-9", index: 0}})
	if len(got) != 5 || got[0] != cards[0] || got[3] != cards[2] || got[4] != cards[3] {
		t.Fatalf("%+v", got)
	}
	if c := got[2]; c.Index != 1 || c.Name != "A100 MIG 2" || c.UUID != "MIG-b" || c.Free != known(20) || c.Temp != known(40) {
		t.Errorf("%+v", c)
	}
}

func FuzzParseInstances(f *testing.F) {
	xml, err := os.ReadFile("../testdata/nvidia-smi/mig.xml")
	if err != nil {
		f.Fatal(err)
	}
	f.Add(string(xml))
	f.Add("<a><gpu><mig_devices><mig_device><index>1</index></mig_device></mig_devices><uuid>u</uuid></gpu></a>")
	f.Fuzz(func(t *testing.T, text string) {
		found := parseInstances(text)
		if len(found) > len(text)/len("<mig_device>") {
			t.Errorf("%d instances from %q", len(found), text)
		}
		for _, i := range found {
			if i.index < 0 || i.gpu == "" {
				t.Errorf("%+v from %q", i, text)
			}
		}
	})
}
