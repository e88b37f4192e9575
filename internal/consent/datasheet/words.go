package datasheet

import (
	"fmt"
	"strings"
	"time"

	"fettle.dev/fettle/internal/fleet"
)

// words are a sheet's own, in one language.
type words struct {
	Sheet, Intro, Languages, Controller, Volume, Version, Which, Name, Type, Frequency, Retention, Purposes, Why string
	Recipients, Nobody, Yours, Complaint, GivenAs, Continuous, NotContinuous, Log, LogFrom, WithoutPortal        string
	Every, OnEvent, PerDay, PerMonth                                                                             string // with %s
	ByConsent, Necessary, Erased, Kept                                                                           string
	Formats                                                                                                      map[string]string
	Rights                                                                                                       [][2]string
	Units                                                                                                        [5][2]string // day, hour, minute, second, and "about"
	Decimal                                                                                                      string
}

func wordsIn(lang string) *words {
	base, _, _ := strings.Cut(strings.ToLower(lang), "-")
	if w, ok := all[base]; ok {
		return w
	}
	return all["en"]
}

// Basis says on what ground a purpose is served, and what withdrawal means.
func (w *words) Basis(q Purpose) string { return w.basis(&q) }

func (w *words) basis(q *Purpose) string {
	switch {
	case q.Basis == fleet.BasisNecessary:
		return w.Necessary
	case q.OnWithdrawal == fleet.OnWithdrawalKeep:
		return w.ByConsent + " " + fmt.Sprintf(w.Kept, q.KeepReason)
	default:
		return w.ByConsent + " " + w.Erased
	}
}

// length is a time in the largest unit that it is whole in.
func (w *words) length(d fleet.Duration) string {
	for i, unit := range []time.Duration{24 * time.Hour, time.Hour, time.Minute, time.Second} {
		if time.Duration(d)%unit == 0 && d > 0 {
			n := int64(time.Duration(d) / unit)
			if n == 1 {
				return "1 " + w.Units[i][0]
			}
			return fmt.Sprintf("%d %s", n, w.Units[i][1])
		}
	}
	return d.String()
}

func (w *words) size(n int64) string {
	for _, u := range []struct {
		name string
		size float64
	}{{"GB", 1e9}, {"MB", 1e6}, {"kB", 1e3}} {
		if v := float64(n) / u.size; v >= 1 {
			return strings.Replace(fmt.Sprintf("%.1f ", v), ".", w.Decimal, 1) + u.name
		}
	}
	return fmt.Sprintf("%d B", n)
}

var all = map[string]*words{
	"en": {
		Sheet: "Data sheet", Intro: "What data this product generates, and what is yours to decide about it, before you buy it (Data Act, article 3).",
		Languages: "Languages", Controller: "Who holds the data", Volume: "Estimated volume", Version: "Version of the notice", Which: "Which data is generated",
		Name: "Name", Type: "Type and format", Frequency: "How often", Retention: "Kept for", Purposes: "Used for", Why: "What it is used for",
		Recipients: "Third parties that receive data", Nobody: "None, unless you share it with them yourself.", Yours: "What you can do", Complaint: "Where to complain",
		GivenAs: "Formats", Continuous: "It is generated continuously and in real time.", NotContinuous: "It is generated when something happens.",
		Log: "Log", LogFrom: "Lines of the product's own log, from level %s on.", WithoutPortal: "Without the portal",
		Every: "every %s", OnEvent: "when it changes or happens", PerDay: "about %s a day", PerMonth: "about %s a month for one product.",
		ByConsent: "Only if you agree; you can withdraw at any time.", Necessary: "Needed for what you asked the product to do; it has no switch.",
		Erased: "What was collected is then erased.", Kept: "What was collected is then kept, and used for nothing else: %s",
		Formats: map[string]string{"number": "number (IEEE 754 double)", "boolean": "true or false", "text": "text (UTF-8)", "event": "event with time, name and state"},
		Rights: [][2]string{
			{"See and download it", "In the portal under My data, at any time and free of charge: everything about you and your products as CSV, JSON and Parquet with a description of each column, or live over HTTPS."},
			{"Share it", "In the portal you name a third party, the data and an end; it reads the same data in the same quality. You end it with one click, and it ends within a second."},
			{"Erase it", "In the portal under My data; withdrawing consent erases what was collected for it, unless a law requires it to be kept, which is said above."},
		},
		Units: [5][2]string{{"day", "days"}, {"hour", "hours"}, {"minute", "minutes"}, {"second", "seconds"}}, Decimal: ".",
	},
	"de": {
		Sheet: "Datenblatt", Intro: "Welche Daten dieses Produkt erzeugt und worüber Sie selbst entscheiden, bevor Sie es kaufen (Data Act, Artikel 3).",
		Languages: "Sprachen", Controller: "Wer die Daten hat", Volume: "Geschätzter Umfang", Version: "Version des Hinweises", Which: "Welche Daten entstehen",
		Name: "Name", Type: "Art und Format", Frequency: "Wie oft", Retention: "Aufbewahrt für", Purposes: "Verwendet für", Why: "Wofür sie verwendet werden",
		Recipients: "Dritte, die Daten erhalten", Nobody: "Niemand, außer Sie teilen sie selbst.", Yours: "Was Sie tun können", Complaint: "Wo Sie sich beschweren können",
		GivenAs: "Formate", Continuous: "Sie entstehen fortlaufend und in Echtzeit.", NotContinuous: "Sie entstehen, wenn etwas geschieht.",
		Log: "Protokoll", LogFrom: "Zeilen aus dem Protokoll des Produkts, ab Stufe %s.", WithoutPortal: "Ohne das Portal",
		Every: "alle %s", OnEvent: "wenn sich etwas ändert oder geschieht", PerDay: "etwa %s am Tag", PerMonth: "etwa %s im Monat für ein Produkt.",
		ByConsent: "Nur mit Ihrer Zustimmung, die Sie jederzeit zurücknehmen können.", Necessary: "Nötig für das, was das Produkt für Sie tun soll; dafür gibt es keinen Schalter.",
		Erased: "Was gesammelt wurde, wird dann gelöscht.", Kept: "Was gesammelt wurde, bleibt dann aufbewahrt und wird für nichts anderes verwendet: %s",
		Formats: map[string]string{"number": "Zahl (IEEE 754, doppelte Genauigkeit)", "boolean": "wahr oder falsch", "text": "Text (UTF-8)", "event": "Ereignis mit Zeit, Name und Zustand"},
		Rights: [][2]string{
			{"Ansehen und herunterladen", "Im Portal unter „Meine Daten“, jederzeit und kostenlos: alles über Sie und Ihre Produkte als CSV, JSON und Parquet mit Beschreibung jeder Spalte, oder laufend über HTTPS."},
			{"Teilen", "Im Portal nennen Sie den Dritten, die Daten und ein Ende; er liest dieselben Daten in derselben Güte. Sie beenden das mit einem Klick, und es endet innerhalb einer Sekunde."},
			{"Löschen", "Im Portal unter „Meine Daten“; wer seine Zustimmung zurücknimmt, löscht damit, was dafür gesammelt wurde, außer ein Gesetz verlangt die Aufbewahrung, was oben gesagt ist."},
		},
		Units: [5][2]string{{"Tag", "Tage"}, {"Stunde", "Stunden"}, {"Minute", "Minuten"}, {"Sekunde", "Sekunden"}}, Decimal: ",",
	},
	"fr": {
		Sheet: "Fiche de données", Intro: "Les données que ce produit génère et ce que vous pouvez en décider, avant l’achat (règlement sur les données, article 3).",
		Languages: "Langues", Controller: "Qui détient les données", Volume: "Volume estimé", Version: "Version de la notice", Which: "Données générées",
		Name: "Nom", Type: "Type et format", Frequency: "Fréquence", Retention: "Conservées pendant", Purposes: "Utilisées pour", Why: "À quoi elles servent",
		Recipients: "Tiers qui reçoivent des données", Nobody: "Aucun, sauf si vous les partagez vous-même.", Yours: "Ce que vous pouvez faire", Complaint: "Où vous plaindre",
		GivenAs: "Formats", Continuous: "Elles sont générées en continu et en temps réel.", NotContinuous: "Elles sont générées lorsque quelque chose se produit.",
		Log: "Journal", LogFrom: "Lignes du journal du produit, à partir du niveau %s.", WithoutPortal: "Sans le portail",
		Every: "à intervalles de %s", OnEvent: "lors d’un changement ou d’un événement", PerDay: "environ %s par jour", PerMonth: "environ %s par mois pour un produit.",
		ByConsent: "Seulement avec votre accord, que vous pouvez retirer à tout moment.", Necessary: "Nécessaire à ce que vous demandez au produit ; il n’y a pas d’interrupteur.",
		Erased: "Ce qui a été recueilli est alors effacé.", Kept: "Ce qui a été recueilli est alors conservé, sans servir à rien d’autre : %s",
		Formats: map[string]string{"number": "nombre (IEEE 754, double précision)", "boolean": "vrai ou faux", "text": "texte (UTF-8)", "event": "événement avec heure, nom et état"},
		Rights: [][2]string{
			{"Les consulter et les télécharger", "Dans le portail, sous « Mes données », à tout moment et gratuitement : tout ce qui vous concerne, vous et vos produits, en CSV, JSON et Parquet avec la description de chaque colonne, ou en direct par HTTPS."},
			{"Les partager", "Dans le portail, vous nommez un tiers, les données et une date de fin ; il lit les mêmes données dans la même qualité. Vous y mettez fin d’un clic, et c’est effectif en une seconde."},
			{"Les effacer", "Dans le portail, sous « Mes données » ; retirer votre accord efface ce qui a été recueilli, sauf si une loi impose de le conserver, ce qui est indiqué ci-dessus."},
		},
		Units: [5][2]string{{"jour", "jours"}, {"heure", "heures"}, {"minute", "minutes"}, {"seconde", "secondes"}}, Decimal: ",",
	},
	"es": {
		Sheet: "Ficha de datos", Intro: "Qué datos genera este producto y qué puede decidir usted sobre ellos, antes de comprarlo (Reglamento de Datos, artículo 3).",
		Languages: "Idiomas", Controller: "Quién tiene los datos", Volume: "Volumen estimado", Version: "Versión del aviso", Which: "Qué datos se generan",
		Name: "Nombre", Type: "Tipo y formato", Frequency: "Con qué frecuencia", Retention: "Se conservan durante", Purposes: "Se usan para", Why: "Para qué se usan",
		Recipients: "Terceros que reciben datos", Nobody: "Ninguno, salvo que usted mismo los comparta.", Yours: "Qué puede hacer usted", Complaint: "Dónde reclamar",
		GivenAs: "Formatos", Continuous: "Se generan de forma continua y en tiempo real.", NotContinuous: "Se generan cuando ocurre algo.",
		Log: "Registro", LogFrom: "Líneas del registro del producto, desde el nivel %s.", WithoutPortal: "Sin el portal",
		Every: "cada %s", OnEvent: "cuando cambia u ocurre algo", PerDay: "unos %s al día", PerMonth: "unos %s al mes por producto.",
		ByConsent: "Solo si usted lo acepta; puede retirarlo en cualquier momento.", Necessary: "Necesario para lo que usted pide al producto; no tiene interruptor.",
		Erased: "Entonces se borra lo recogido.", Kept: "Entonces lo recogido se conserva y no se usa para nada más: %s",
		Formats: map[string]string{"number": "número (IEEE 754, doble precisión)", "boolean": "verdadero o falso", "text": "texto (UTF-8)", "event": "suceso con hora, nombre y estado"},
		Rights: [][2]string{
			{"Verlos y descargarlos", "En el portal, en «Mis datos», en cualquier momento y gratis: todo sobre usted y sus productos en CSV, JSON y Parquet con la descripción de cada columna, o en directo por HTTPS."},
			{"Compartirlos", "En el portal usted nombra a un tercero, los datos y un final; lee los mismos datos con la misma calidad. Lo termina con un clic y acaba en un segundo."},
			{"Borrarlos", "En el portal, en «Mis datos»; al retirar el consentimiento se borra lo recogido, salvo que una ley obligue a conservarlo, como se dice arriba."},
		},
		Units: [5][2]string{{"día", "días"}, {"hora", "horas"}, {"minuto", "minutos"}, {"segundo", "segundos"}}, Decimal: ",",
	},
	"sv": {
		Sheet: "Datablad", Intro: "Vilka data produkten skapar och vad du själv bestämmer om dem, innan du köper den (dataförordningen, artikel 3).",
		Languages: "Språk", Controller: "Vem som har uppgifterna", Volume: "Uppskattad mängd", Version: "Informationens version", Which: "Vilka data som skapas",
		Name: "Namn", Type: "Typ och format", Frequency: "Hur ofta", Retention: "Sparas i", Purposes: "Används för", Why: "Vad de används till",
		Recipients: "Tredje parter som får data", Nobody: "Ingen, om du inte själv delar dem.", Yours: "Vad du kan göra", Complaint: "Var du kan klaga",
		GivenAs: "Format", Continuous: "De skapas löpande och i realtid.", NotContinuous: "De skapas när något händer.",
		Log: "Logg", LogFrom: "Rader ur produktens logg, från nivå %s.", WithoutPortal: "Utan portalen",
		Every: "med %s mellanrum", OnEvent: "när något ändras eller händer", PerDay: "ungefär %s per dag", PerMonth: "ungefär %s i månaden för en produkt.",
		ByConsent: "Bara om du samtycker; du kan ta tillbaka det när som helst.", Necessary: "Behövs för det du ber produkten göra; det finns ingen knapp för det.",
		Erased: "Det som samlats in raderas då.", Kept: "Det som samlats in sparas då och används inte till något annat: %s",
		Formats: map[string]string{"number": "tal (IEEE 754, dubbel precision)", "boolean": "sant eller falskt", "text": "text (UTF-8)", "event": "händelse med tid, namn och läge"},
		Rights: [][2]string{
			{"Se och ladda ner", "I portalen under Mina data, när som helst och utan kostnad: allt om dig och dina produkter som CSV, JSON och Parquet med beskrivning av varje kolumn, eller löpande över HTTPS."},
			{"Dela", "I portalen anger du en tredje part, vilka data och ett slut; den läser samma data i samma kvalitet. Du avslutar med ett klick, och det upphör inom en sekund."},
			{"Radera", "I portalen under Mina data; när du tar tillbaka ditt samtycke raderas det som samlats in, om inte en lag kräver att det sparas, vilket sägs ovan."},
		},
		Units: [5][2]string{{"dag", "dagar"}, {"timme", "timmar"}, {"minut", "minuter"}, {"sekund", "sekunder"}}, Decimal: ",",
	},
}
