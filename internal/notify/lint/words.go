package lint

import "regexp"

// tongue is what a language's notices are looked at for. Words are matched at
// the beginning of a word, without regard to capitals.
type tongue struct {
	headline string           // what art. 36(2)(a) asks for
	heads    []*regexp.Regexp // what is taken for it
	soft     []softener
	stop     []*regexp.Regexp // to stop using the product at once
	danger   []*regexp.Regexp // that something can happen
	identify []*regexp.Regexp // serial, batch or model numbers
	free     []*regexp.Regexp // a phone number that costs nothing
	share    []*regexp.Regexp
	remedies map[string][]*regexp.Regexp
	write    examples
}

type softener struct {
	match *regexp.Regexp
	group string // what it is an instance of, as in art. 36(2)(c)
}

// examples are what to write, in the language.
type examples struct{ identify, danger, stop, remedies, contact, share string }

func match(list ...string) []*regexp.Regexp {
	out := make([]*regexp.Regexp, len(list))
	for i, s := range list {
		out[i] = regexp.MustCompile(`(?i)(?:^|[^\p{L}\p{N}])(?:` + s + `)`)
	}
	return out
}

func soft(groups map[string][]string) []softener {
	var out []softener
	for _, g := range []string{"voluntary", "precautionary", "discretionary", "in rare situations", "in specific situations", "no reported accidents", "minimising"} {
		for _, m := range match(groups[g]...) {
			out = append(out, softener{m, g})
		}
	}
	return out
}

// tongues by base language. The groups are those of GPSR art. 36(2)(c), and
// minimising what is said in other words to the same effect ("elements that may
// decrease consumers' perception of risk").
//
//nolint:misspell // other languages than English
var tongues = map[string]*tongue{
	"en": {
		headline: "Product safety recall", heads: match(`product safety recall`),
		soft: soft(map[string][]string{
			"voluntary":              {`voluntar(?:y|ily)`},
			"precautionary":          {`(?:as a )?precautionary`, `as a precaution(?:\b)`, `out of an abundance of caution`, `abundance of caution`, `to be on the safe side`},
			"discretionary":          {`discretionary`, `at (?:our|its|their) discretion`},
			"in rare situations":     {`in (?:very |extremely )?rare (?:situations?|cases?|circumstances|instances|occasions)`, `on rare occasions`, `rarely`, `in exceptional (?:cases|circumstances)`, `isolated (?:cases|incidents)`},
			"in specific situations": {`in (?:certain|specific|particular|some) (?:situations?|cases?|circumstances|conditions)`, `under (?:certain|specific|particular) (?:situations?|conditions|circumstances)`},
			"no reported accidents":  {`no (?:reported |known |reports of )?(?:accidents?|injur(?:y|ies)|incidents?)(?: have| has| were| are)?(?: been)?(?: reported| known)?`, `not? (?:aware of|received) any (?:reports? of )?(?:accidents?|injur(?:y|ies)|incidents?)`, `no one has been (?:hurt|injured)`, `nobody has been (?:hurt|injured)`, `without any (?:accidents?|injur(?:y|ies)) `},
			"minimising":             {`goodwill`, `minor (?:risk|issue|problem|defect)`, `(?:very |extremely )?(?:low|small|slight|remote|minimal) (?:risk|chance|probability|likelihood)`, `unlikely`, `theoretical(?:ly)?`, `for your peace of mind`, `no cause for (?:alarm|concern)`, `customer satisfaction`, `as a courtesy`, `service campaign`},
		}),
		stop:     match(`(?:immediately |at once )?stop(?:ping)? (?:\p{L}+ ){0,3}us(?:e|ing)`, `do not (?:\p{L}+ )?use`, `don['’]t use`, `cease (?:\p{L}+ ){0,2}us(?:e|ing)`, `stop using`, `unplug`, `disconnect`),
		danger:   match(`fire`, `burn`, `shock`, `electrocut`, `explo`, `chok`, `suffocat`, `injur`, `falls?\b`, `cuts?\b`, `poison`, `crash`, `overheat`, `strangl`, `danger`, `hazard`, `risk of`, `death`, `die[sd]?\b`, `drown`, `laceration`, `toxic`),
		identify: match(`serial`, `batch`, `lot (?:no|number|code)`, `model (?:no|number|code)`, `article (?:no|number)`, `item (?:no|number)`, `barcode`, `EAN`, `GTIN`, `VIN`, `type (?:no|number)`),
		free:     match(`free`, `freephone`, `toll[- ]free`, `no charge`),
		share:    match(`share`, `pass (?:this|it|the) `, `tell (?:others|anyone|everyone|friends)`, `spread the word`, `forward this`, `let (?:others|them) know`),
		remedies: map[string][]*regexp.Regexp{
			"repair":      match(`repair`, `fix(?:ed)?`, `update`, `refit`, `service technician`),
			"replacement": match(`replac`, `exchange`, `swap`, `new (?:product|one|unit|device)`),
			"refund":      match(`refund`, `money back`, `reimburs`, `your money`, `pay you back`),
		},
		write: examples{
			"Serial numbers WC-000001 to WC-004999, printed on the label beneath the cover.", "The plug can overheat and cause a fire.", "Stop using the product immediately.",
			"You may choose between a free repair, a replacement and a refund.", "Call us free of charge on 0800 …, or go to https://…", "Please share this information with anyone who may have this product.",
		},
	},
	"de": {
		headline: "Produktsicherheitsrückruf", heads: match(`produktsicherheitsrückruf`, `product safety recall`),
		soft: soft(map[string][]string{
			"voluntary":              {`freiwillig`},
			"precautionary":          {`vorsorglich`, `(?:reine |als )?vorsichtsmaßnahme`, `vorsorgemaßnahme`, `aus vorsicht`, `sicherheitshalber`},
			"discretionary":          {`im (?:eigenen |freien )?ermessen`, `nach (?:eigenem |freiem )?ermessen`},
			"in rare situations":     {`in (?:sehr |äußerst |extrem )?seltenen (?:fällen|situationen)`, `in ausnahmefällen`, `vereinzelt`, `in einzelfällen`, `in einzelnen fällen`, `selten`},
			"in specific situations": {`in bestimmten (?:fällen|situationen)`, `unter (?:bestimmten|gewissen|besonderen|ungünstigen) (?:umständen|bedingungen)`, `in (?:manchen|gewissen|einigen) (?:fällen|situationen)`},
			"no reported accidents":  {`(?:keine|keinerlei) (?:\p{L}+ ){0,2}(?:unfälle|verletzungen|vorfälle|zwischenfälle|schäden)`, `nicht zu (?:unfällen|verletzungen|schäden)`, `niemand (?:wurde |kam |ist )?(?:\p{L}+ ){0,2}verletzt`, `kein unfall`},
			"minimising":             {`kulanz`, `geringe?s? (?:risiko|gefahr)`, `unwahrscheinlich`, `theoretisch`, `kein grund zur (?:sorge|beunruhigung)`, `serviceaktion`, `kundenzufriedenheit`, `restrisiko`},
		}),
		stop:     match(`(?:sofort |unverzüglich |umgehend )?nicht (?:mehr |weiter )?(?:be|ver)?nutz`, `nicht (?:mehr |weiter )?verwend`, `nicht (?:mehr |weiter )?gebrauch`, `(?:benutz|verwend|nutz)\p{L}* sie (?:\p{L}+ ){0,6}nicht`, `nutzung (?:\p{L}+ ){0,2}ein(?:zu)?stellen`, `stellen sie die (?:be)?nutzung`, `ziehen sie den (?:netz)?stecker`),
		danger:   match(`brand`, `feuer`, `verbrenn`, `stromschlag`, `elektrisch`, `explo`, `ersticken`, `verletz`, `sturz`, `stürz`, `schnittverletz`, `schneiden`, `vergift`, `unfall`, `überhitz`, `strangul`, `gefahr`, `risiko`, `tod`, `tödlich`, `lebensgefahr`),
		identify: match(`serien-?nummer`, `chargen?-?(?:nummer|nr)?`, `los-?nummer`, `modell-?nummer`, `artikel-?nummer`, `typen?-?nummer`, `fahrgestellnummer`, `EAN`, `GTIN`, `seriennr`, `fertigungsnummer`),
		free:     match(`kostenlos`, `kostenfrei`, `gebührenfrei`, `unentgeltlich`),
		share:    match(`weiter(?:geben|sagen|leiten)`, `geben sie (?:\p{L}+ ){0,8}weiter`, `teilen sie diese`, `leiten sie`, `sagen sie es`, `informieren sie (?:\p{L}+ )?(?:andere|personen|freunde)`),
		remedies: map[string][]*regexp.Regexp{
			"repair":      match(`reparatur`, `reparier`, `instandsetz`, `nachbesser`, `update`, `nachrüst`),
			"replacement": match(`ersatz`, `ersetz`, `(?:um|aus)tausch`, `neues? (?:gerät|produkt)`, `tausch`),
			"refund":      match(`erstatt`, `rückerstatt`, `geld zurück`, `kaufpreis`, `rückzahlung`),
		},
		write: examples{
			"Seriennummern WC-000001 bis WC-004999, auf dem Typenschild unter der Abdeckung.", "Der Stecker kann überhitzen und einen Brand auslösen.", "Benutzen Sie das Produkt ab sofort nicht mehr.",
			"Sie haben die Wahl zwischen kostenloser Reparatur, Ersatz und Erstattung des Kaufpreises.", "Rufen Sie kostenlos 0800 … an, oder besuchen Sie https://…", "Bitte geben Sie diese Information an alle weiter, die dieses Produkt haben könnten.",
		},
	},
	"fr": {
		headline: "Rappel de produit pour des raisons de sécurité", heads: match(`rappel (?:\p{L}+['’ ]?\s?){0,4}(?:produit|sécurité)(?:\s\p{L}+){0,5}`),
		soft: soft(map[string][]string{
			"voluntary":              {`volontaire`, `de (?:notre|sa|leur) (?:propre )?initiative`},
			"precautionary":          {`(?:par |mesures? de |à titre de |principe de )précaution`, `préventi(?:f|ve|vement)`, `par (?:mesure de )?prudence`},
			"discretionary":          {`discrétionnaire`, `à (?:notre|sa|leur) discrétion`},
			"in rare situations":     {`dans (?:de |des |quelques )?(?:très )?rares (?:cas|situations|circonstances)`, `rarement`, `cas (?:très )?(?:rares|isolés)`, `exceptionnellement`, `dans des cas exceptionnels`},
			"in specific situations": {`dans (?:certain(?:e)?s|des) (?:cas|situations|circonstances|conditions)(?: (?:précis|particuli|spécifi)\p{L}*)?`, `(?:sous|dans) certaines conditions`, `dans des (?:cas|situations) (?:précis|particuli|spécifi)\p{L}*`},
			"no reported accidents":  {`aucun(?:e)? (?:\p{L}+ ){0,2}(?:accident|blessure|blessé|incident)`, `pas (?:d['’]|eu d['’]|de )(?:accident|blessure|blessé|incident)`, `sans (?:aucun )?(?:accident|blessé)`, `personne n['’]a été blessé`},
			"minimising":             {`geste commercial`, `(?:faible|léger|minime) risque`, `risque (?:faible|minime|limité|très faible)`, `peu probable`, `improbable`, `théorique`, `pas (?:lieu de s['’]|d['’])inquiét`, `satisfaction client`},
		}),
		stop:     match(`cess\p{L}+ (?:immédiatement |tout de suite |aussitôt )?(?:d['’]|de l['’]|toute |l['’])?\s?utilis`, `n['’](?:utilis\p{L}+|employ\p{L}+) (?:plus|pas)`, `ne (?:plus|pas) (?:l['’])?utilis`, `arrêt\p{L}+ (?:immédiatement )?(?:d['’]|de l['’])\s?utilis`, `débranch`),
		danger:   match(`incendie`, `feu\b`, `brûl`, `électrocution`, `choc électrique`, `explo`, `étouff`, `suffo`, `bless`, `chute`, `coupur`, `intoxic`, `accident`, `surchauff`, `strangul`, `danger`, `risque`, `mort`),
		identify: match(`numéros? de (?:série|lot|modèle)`, `n° de (?:série|lot)`, `lots?\b`, `référence`, `code[- ]barres`, `EAN`, `GTIN`, `VIN`),
		free:     match(`gratuit`, `sans frais`, `numéro vert`),
		share:    match(`partag`, `transmet`, `diffus`, `faire (?:suivre|passer|savoir)`, `informer (?:\p{L}+ ){0,3}(?:personne|entourage|proches)`, `inform\p{L}+ vos`),
		remedies: map[string][]*regexp.Regexp{
			"repair":      match(`répar`, `remise en état`, `mise à jour`),
			"replacement": match(`remplac`, `échang`, `nouve(?:au|l) (?:produit|appareil)`),
			"refund":      match(`rembours`),
		},
		write: examples{
			"Numéros de série WC-000001 à WC-004999, sur l'étiquette sous le couvercle.", "La fiche peut surchauffer et provoquer un incendie.", "Cessez immédiatement d'utiliser le produit.",
			"Vous avez le choix entre une réparation gratuite, un remplacement et un remboursement.", "Appel gratuit au 0800 …, ou https://…", "Merci de transmettre cette information à toute personne susceptible de posséder ce produit.",
		},
	},
	"es": {
		headline: "Recuperación de un producto por motivos de seguridad", heads: match(`(?:recuperación|retirada|llamada a revisión)(?:\s\p{L}+){0,6}\s(?:seguridad|producto)`),
		soft: soft(map[string][]string{
			"voluntary":              {`voluntari`},
			"precautionary":          {`(?:por |como |medidas? de )precaución`, `preventiv`, `cautelar`, `por prudencia`},
			"discretionary":          {`discrecional`, `a (?:nuestra|su) discreción`},
			"in rare situations":     {`en (?:muy )?(?:raras|pocas|contadas) (?:situaciones|ocasiones)`, `en (?:casos|situaciones|ocasiones) (?:muy )?(?:rar|excepcional|aislad)\p{L}*`, `en (?:raros|contados|pocos|muy pocos) casos`, `casos aislados`, `raramente`, `rara vez`, `excepcionalmente`},
			"in specific situations": {`en (?:ciert|determinad|algun)[oa]s (?:casos|situaciones|circunstancias|condiciones)`, `en (?:casos|situaciones) (?:concret|específic|particular)\p{L}*`, `bajo (?:ciertas|determinadas) (?:condiciones|circunstancias)`},
			"no reported accidents":  {`ning(?:ún|una) (?:\p{L}+ ){0,2}(?:accidente|lesión|herido|incidente)`, `no (?:se )?(?:han?|hay|hubo|constan?|tenemos constancia de|se tiene constancia de) (?:\p{L}+ ){0,3}(?:accidente|lesion|lesión|herido|incidente)`, `sin (?:accidentes|heridos|lesiones|incidentes)`, `nadie ha resultado herido`},
			"minimising":             {`gesto comercial`, `(?:bajo|pequeño|leve|mínimo) riesgo`, `riesgo (?:bajo|leve|mínimo|muy bajo)`, `poco probable`, `improbable`, `teóric`, `no hay motivo (?:de|para) (?:alarma|preocup)`, `satisfacción del cliente`},
		}),
		stop:     match(`dej\p{L}+ (?:inmediatamente |de inmediato )?de (?:inmediato )?(?:usar|utilizar)`, `no (?:lo |la )?(?:use|utilice|usen|siga usando|siga utilizando)`, `suspenda (?:\p{L}+ ){0,3}(?:uso|utilización)`, `interrump\p{L}+ (?:\p{L}+ ){0,3}(?:uso|utilización)`, `desenchuf`, `desconect`),
		danger:   match(`incendio`, `fuego`, `quemadur`, `descarga`, `electrocu`, `explo`, `asfixia`, `atragant`, `lesion`, `lesión`, `caída`, `caer`, `cortes?\b`, `intoxic`, `accidente`, `sobrecal`, `estrangul`, `peligr`, `riesgo`, `muerte`),
		identify: match(`números? de (?:serie|lote|modelo)`, `n\.?º de (?:serie|lote)`, `lote`, `referencia`, `código de barras`, `EAN`, `GTIN`, `bastidor`),
		free:     match(`gratis`, `gratuit`, `sin coste`),
		share:    match(`compart`, `difund`, `inform\p{L}+ a (?:otr|quien|cualquier)`, `avise`, `reenv`, `transmit`),
		remedies: map[string][]*regexp.Regexp{
			"repair":      match(`repar`, `arreglo`, `actualización`),
			"replacement": match(`sustitu`, `reemplaz`, `recambio`, `cambio`, `producto nuevo`),
			"refund":      match(`reembols`, `devolución del (?:dinero|importe)`, `devolver\p{L}* (?:\p{L}+ ){0,2}(?:dinero|importe)`, `su dinero`),
		},
		write: examples{
			"Números de serie WC-000001 a WC-004999, en la etiqueta bajo la tapa.", "El enchufe puede sobrecalentarse y provocar un incendio.", "Deje de usar el producto inmediatamente.",
			"Puede elegir entre la reparación gratuita, la sustitución y el reembolso.", "Llame gratis al 900 …, o visite https://…", "Comparta esta información con cualquier persona que pueda tener este producto.",
		},
	},
	"sv": {
		headline: "Säkerhetsåterkallelse av produkt", heads: match(`säkerhetsåterkallelse`, `produktsäkerhetsåterkallelse`, `återkallelse(?:\s\p{L}+){0,4}\s(?:säkerhet|produkt)`, `återkallelse av (?:en )?(?:osäker|farlig) produkt`),
		soft: soft(map[string][]string{
			"voluntary":              {`frivillig`},
			"precautionary":          {`försiktighets(?:åtgärd|skäl)`, `(?:i )?förebyggande(?: syfte| åtgärd)?`, `för säkerhets skull`},
			"discretionary":          {`efter (?:eget |vårt )?gottfinnande`, `skönsmässig`, `diskretionär`},
			"in rare situations":     {`i (?:mycket |ytterst )?sällsynta (?:fall|situationer)`, `i undantagsfall`, `enstaka fall`, `sällan`},
			"in specific situations": {`i (?:vissa|särskilda|specifika|enskilda) (?:fall|situationer)`, `under (?:vissa|särskilda|speciella) (?:omständigheter|förhållanden|förutsättningar)`},
			"no reported accidents":  {`inga (?:\p{L}+ ){0,2}(?:olyckor|skador|personskador|incidenter|tillbud|olycksfall)`, `ingen har skadats`, `ingen (?:person )?har (?:blivit skadad|kommit till skada)`, `inte (?:lett till|orsakat|rapporterats) (?:\p{L}+ ){0,2}(?:olyckor|skador|incidenter)`},
			"minimising":             {`goodwill`, `(?:låg|liten|mycket liten|minimal|ringa) risk`, `osannolik`, `teoretisk`, `ingen anledning till oro`, `kundnöjdhet`, `servicekampanj`},
		}),
		stop:     match(`(?:sluta|upphör) (?:genast |omedelbart |att )*(?:använd|bruk)`, `använd (?:\p{L}+ ){0,4}inte`, `använd inte`, `dra ur (?:kontakten|sladden)`, `koppla (?:ur|bort)`),
		danger:   match(`brand`, `eldsvåda`, `brännsk`, `elstöt`, `elchock`, `elektrisk`, `explo`, `kvävning`, `kvävas`, `skada`, `personskad`, `fallolyck`, `ramla`, `skärsår`, `förgift`, `olyck`, `överhett`, `strypning`, `fara`, `farlig`, `risk`, `död`),
		identify: match(`serienummer`, `batchnummer`, `partinummer`, `sats(?:nummer)?`, `modellnummer`, `artikelnummer`, `EAN`, `GTIN`, `chassinummer`, `typnummer`, `tillverkningsnummer`),
		free:     match(`gratis`, `kostnadsfri`, `avgiftsfri`, `utan kostnad`),
		share:    match(`sprid`, `dela (?:\p{L}+ ){0,3}(?:information|med)`, `berätta för`, `tipsa`, `informera (?:\p{L}+ ){0,2}(?:andra|vänner)`, `vidarebefordra`, `skicka vidare`),
		remedies: map[string][]*regexp.Regexp{
			"repair":      match(`repar`, `laga`, `uppdater`, `åtgärda`),
			"replacement": match(`ersätt(?:a|s|nings)`, `byte`, `byta`, `utbyt`, `ny produkt`, `byts`),
			"refund":      match(`återbetal`, `pengarna tillbaka`, `pengar tillbaka`, `återköp`),
		},
		write: examples{
			"Serienummer WC-000001 till WC-004999, på etiketten under locket.", "Kontakten kan överhettas och orsaka brand.", "Sluta genast använda produkten.",
			"Du kan välja mellan gratis reparation, byte och pengarna tillbaka.", "Ring gratis 020-…, eller gå till https://…", "Sprid gärna den här informationen till andra som kan ha produkten.",
		},
	},
}
