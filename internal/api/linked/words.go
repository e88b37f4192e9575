package linked

import (
	"golang.org/x/text/language"

	"fettle.dev/fettle/internal/notify"
)

// words of the pages behind links.
type words struct {
	lang                                     string
	ReadTitle, ReadAsk, ReadButton, ReadDone string
	StopTitle, StopAsk, StopButton, StopDone string
	StopNever                                string
	GoneTitle, Gone, FailedTitle, Failed     string
	Service, Feature, Tip, Other             string
}

var catalogue = []words{
	{
		lang: "en", ReadTitle: "Have you read this message?", ReadAsk: "Press the button to tell us that you have read it.", ReadButton: "I have read it",
		ReadDone:  "Thank you. We have noted that you have read this message. You can close this page.",
		StopTitle: "No more of these messages?", StopAsk: "You will still get what concerns your safety.", StopButton: "No more of these",
		StopDone:  "Done. You will get no more messages of this kind. You can change this at any time in your portal, under notices.",
		StopNever: "Messages of this kind cannot be switched off: they concern safety, or you asked for them.",
		GoneTitle: "This link is not valid", Gone: "It may have been cut off when it was copied, or the message no longer exists.",
		FailedTitle: "That did not work", Failed: "The fault is ours. Please try again in a few minutes.",
		Service: "You are about to end messages about maintenance and updates.", Feature: "You are about to end messages about new features.", Tip: "You are about to end tips.", Other: "You are about to end messages of this kind.",
	},
	{
		lang: "de", ReadTitle: "Haben Sie diese Nachricht gelesen?", ReadAsk: "Bestätigen Sie mit der Taste, dass Sie sie gelesen haben.", ReadButton: "Ich habe sie gelesen",
		ReadDone:  "Danke. Wir haben vermerkt, dass Sie diese Nachricht gelesen haben. Sie können diese Seite schließen.",
		StopTitle: "Keine solchen Nachrichten mehr?", StopAsk: "Was Ihre Sicherheit betrifft, erhalten Sie weiterhin.", StopButton: "Keine mehr davon",
		StopDone:  "Erledigt. Sie erhalten keine Nachrichten dieser Art mehr. In Ihrem Portal können Sie das unter „Mitteilungen“ jederzeit ändern.",
		StopNever: "Nachrichten dieser Art lassen sich nicht abstellen: Sie betreffen die Sicherheit, oder Sie haben selbst darum gebeten.",
		GoneTitle: "Dieser Link ist nicht gültig", Gone: "Vielleicht wurde er beim Kopieren abgeschnitten, oder es gibt die Nachricht nicht mehr.",
		FailedTitle: "Das hat nicht geklappt", Failed: "Der Fehler liegt bei uns. Bitte versuchen Sie es in einigen Minuten noch einmal.",
		Service: "Sie beenden Nachrichten über Wartung und Updates.", Feature: "Sie beenden Nachrichten über neue Funktionen.", Tip: "Sie beenden Tipps.", Other: "Sie beenden Nachrichten dieser Art.",
	},
	{
		lang: "fr", ReadTitle: "Avez-vous lu ce message ?", ReadAsk: "Appuyez sur le bouton pour nous dire que vous l’avez lu.", ReadButton: "Je l’ai lu",
		ReadDone:  "Merci. Nous avons noté que vous avez lu ce message. Vous pouvez fermer cette page.",
		StopTitle: "Ne plus recevoir ces messages ?", StopAsk: "Vous recevrez toujours ce qui concerne votre sécurité.", StopButton: "Ne plus les recevoir",
		StopDone:  "C’est fait. Vous ne recevrez plus de messages de ce type. Vous pouvez changer cela à tout moment dans votre espace, sous « Avis ».",
		StopNever: "Ce type de message ne peut pas être désactivé : il concerne la sécurité, ou vous l’avez demandé.",
		GoneTitle: "Ce lien n’est pas valable", Gone: "Il a peut-être été coupé en le copiant, ou le message n’existe plus.",
		FailedTitle: "Cela n’a pas fonctionné", Failed: "L’erreur vient de nous. Veuillez réessayer dans quelques minutes.",
		Service: "Vous allez arrêter les messages d’entretien et de mise à jour.", Feature: "Vous allez arrêter les messages sur les nouveautés.", Tip: "Vous allez arrêter les conseils.", Other: "Vous allez arrêter ce type de message.",
	},
	{
		lang: "es", ReadTitle: "¿Ha leído este mensaje?", ReadAsk: "Pulse el botón para decirnos que lo ha leído.", ReadButton: "Lo he leído",
		ReadDone:  "Gracias. Hemos anotado que ha leído este mensaje. Ya puede cerrar esta página.",
		StopTitle: "¿No recibir más estos mensajes?", StopAsk: "Seguirá recibiendo lo que afecte a su seguridad.", StopButton: "No recibir más",
		StopDone:  "Hecho. No recibirá más mensajes de este tipo. Puede cambiarlo cuando quiera en su portal, en «Avisos».",
		StopNever: "Los mensajes de este tipo no se pueden desactivar: afectan a la seguridad o los ha pedido usted.",
		GoneTitle: "Este enlace no es válido", Gone: "Quizá se cortó al copiarlo, o el mensaje ya no existe.",
		FailedTitle: "No ha funcionado", Failed: "El fallo es nuestro. Vuelva a intentarlo dentro de unos minutos.",
		Service: "Va a dejar de recibir mensajes de mantenimiento y actualizaciones.", Feature: "Va a dejar de recibir mensajes sobre novedades.", Tip: "Va a dejar de recibir consejos.", Other: "Va a dejar de recibir mensajes de este tipo.",
	},
	{
		lang: "sv", ReadTitle: "Har du läst det här meddelandet?", ReadAsk: "Tryck på knappen för att tala om att du har läst det.", ReadButton: "Jag har läst det",
		ReadDone:  "Tack. Vi har noterat att du har läst meddelandet. Du kan stänga sidan.",
		StopTitle: "Inga fler sådana meddelanden?", StopAsk: "Du får fortfarande det som gäller din säkerhet.", StopButton: "Inga fler sådana",
		StopDone:  "Klart. Du får inga fler meddelanden av det här slaget. Du kan när som helst ändra det i din portal, under Aviseringar.",
		StopNever: "Sådana här meddelanden går inte att stänga av: de gäller säkerheten, eller så har du själv bett om dem.",
		GoneTitle: "Länken är inte giltig", Gone: "Den kan ha blivit avkapad när den kopierades, eller så finns meddelandet inte längre.",
		FailedTitle: "Det fungerade inte", Failed: "Felet är vårt. Försök igen om några minuter.",
		Service: "Du är på väg att avsluta meddelanden om service och uppdateringar.", Feature: "Du är på väg att avsluta meddelanden om nyheter.", Tip: "Du är på väg att avsluta tips.", Other: "Du är på väg att avsluta sådana här meddelanden.",
	},
}

var matcher = func() language.Matcher {
	tags := make([]language.Tag, len(catalogue))
	for i, w := range catalogue {
		tags[i] = language.MustParse(w.lang)
	}
	return language.NewMatcher(tags)
}()

// wordsIn are the words nearest to a language, or to a browser's list of them.
func wordsIn(accept string) words {
	_, i := language.MatchStrings(matcher, accept)
	return catalogue[i]
}

func (w words) kind(k notify.Kind) string {
	switch k {
	case notify.Service:
		return w.Service
	case notify.Feature:
		return w.Feature
	case notify.Tip:
		return w.Tip
	default:
		return w.Other
	}
}
